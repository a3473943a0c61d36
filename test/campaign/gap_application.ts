/**
 * The smallest application behind a virtual IP: whoever connects is told the name of the node.
 */
const [address = "", port = "", node = ""] = process.argv.slice(2);
Bun.listen({
  hostname: address,
  port: Number(port),
  socket: {
    open: (socket) => {
      socket.end(`${node}\n`);
    },
    data: () => undefined,
  },
});

export {};
