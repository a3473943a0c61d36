// Nobody listens: the signal ends the script.
console.log("before");
Deno.kill(Deno.pid, "SIGTERM");
await new Promise((resolve) => setTimeout(resolve, 5000));
console.log("after");
