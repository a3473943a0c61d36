/** Templates that are git repositories, over http, https and ssh, or folders; and their newer versions. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { fetchTemplate, MAIN, mergeIn, Repository, readFiles } from "../../modules/history/history.ts";
import { writeFiles } from "../fixtures/scratch.ts";
import { git, hook, made, me, noGit, root, yaml } from "./module_repository.ts";

t.test(
  "templates from a git repository over http, from a bare one here, and from a folder",
  { skip: noGit },
  async (t) => {
    const { directory: origin, first } = await made("origin", {
      "module.yaml": yaml,
      "hooks/start_prim.ts": hook,
    });
    git(root, "clone", "-q", "--bare", origin, "served.git");
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: gitOverHttp });
    t.teardown(() => server.stop(true));
    const into = await Repository.make(join(root, "into"));
    t.equal(await fetchTemplate(into, `http://127.0.0.1:${server.port}/served.git`, null, me), first);
    t.equal((await into.files(first)).size, 2);
    await t.rejects(fetchTemplate(into, `http://127.0.0.1:${server.port}/none.git`, null, me), {
      message: /none\.git cannot be cloned: /,
    });
    const bare = await Repository.make(join(root, "into-bare"));
    t.equal(await fetchTemplate(bare, join(root, "served.git"), null, me), first);
    const folder = writeFiles(join(root, "folder"), { "module.yaml": yaml });
    const one = await fetchTemplate(bare, folder, null, me);
    t.equal(await fetchTemplate(bare, folder, one, me), one, "unchanged");
    writeFiles(folder, { more: "1" });
    t.ok(await bare.contains(await fetchTemplate(bare, folder, one, me), one), "a newer one comes after it");
    await t.rejects(fetchTemplate(bare, join(root, "not-there"), null, me), { message: /is no directory/ });
    await t.rejects(fetchTemplate(bare, "ssh://nobody@127.0.0.1:1/x.git", null, me), {
      message: /^ssh:.* cannot be cloned: /,
    });
  },
);

t.test(
  "a template on an https server of one's own authority, and its newer version",
  { skip: noGit },
  async (t) => {
    const { directory: origin, first } = await made("secured", {
      "module.yaml": yaml,
      "hooks/start_prim.ts": hook,
    });
    git(root, "clone", "-q", "--bare", origin, "secured.git");
    const [key, cert] = ["key.pem", "cert.pem"].map((name) => join(root, name)) as [string, string];
    const openssl = spawnSync(
      "openssl",
      [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
      ].concat(["-subj", "/CN=git", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]),
    );
    t.equal(openssl.status, 0, String(openssl.stderr));
    const tls = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", tls, fetch: gitOverHttp });
    const before = process.env["SSL_CERT_FILE"];
    t.teardown(async () => {
      await server.stop(true);
      if (before === undefined) delete process.env["SSL_CERT_FILE"];
      else process.env["SSL_CERT_FILE"] = before;
    });
    const url = `https://127.0.0.1:${server.port}/secured.git`;
    const module = await Repository.make(join(root, "from-https"));
    await t.rejects(fetchTemplate(module, url, null, me), {
      message: /secured\.git cannot be cloned: .*certificate/i,
    });
    process.env["SSL_CERT_FILE"] = cert;
    await upgraded(t, module, url, first, join(root, "secured.git"));
  },
);

const sshd = Bun.which("sshd", { PATH: "/usr/sbin:/usr/local/sbin" });
const noSshd =
  noGit || (sshd === null ? "NOT TRIED over ssh: there is no sshd here (package openssh-server)" : false);

t.test("a template over ssh, by the system's git", { skip: noSshd }, async (t) => {
  const { directory: origin, first } = await made("over-ssh", {
    "module.yaml": yaml,
    "hooks/start_prim.ts": hook,
  });
  git(root, "clone", "-q", "--bare", origin, "over-ssh.git");
  for (const name of ["host_key", "user_key"])
    t.equal(spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(root, name)]).status, 0);
  const port = 30_000 + (process.pid % 20_000);
  const settings = [
    `Port=${port}`,
    "ListenAddress=127.0.0.1",
    `HostKey=${join(root, "host_key")}`,
    "UsePAM=no",
    "PidFile=none",
  ].concat([
    `AuthorizedKeysFile=${join(root, "user_key.pub")}`,
    "StrictModes=no",
    "PasswordAuthentication=no",
  ]);
  mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const server = Bun.spawn(
    [sshd!, "-D", "-e", "-f", "/dev/null", ...settings.flatMap((one) => ["-o", one])],
    {
      stdout: "ignore",
      stderr: "pipe",
    },
  );
  const known = join(root, "known_hosts");
  writeFileSync(known, `[127.0.0.1]:${port} ${readFileSync(join(root, "host_key.pub"), "utf8")}`);
  const before = process.env["GIT_SSH_COMMAND"];
  process.env["GIT_SSH_COMMAND"] =
    `ssh -o BatchMode=yes -o IdentitiesOnly=yes -i ${join(root, "user_key")} -o UserKnownHostsFile=${known}`;
  t.teardown(async () => {
    server.kill();
    await server.exited;
    if (before === undefined) delete process.env["GIT_SSH_COMMAND"];
    else process.env["GIT_SSH_COMMAND"] = before;
  });
  const isUp = () =>
    Bun.connect({ hostname: "127.0.0.1", port, socket: { data: () => undefined } }).then(
      (socket) => socket.end(),
      () => null,
    );
  for (let tries = 0; tries < 100 && (await isUp()) === null; tries++) await Bun.sleep(20);
  const module = await Repository.make(join(root, "from-ssh"));
  const user = spawnSync("id", ["-un"], { encoding: "utf8" }).stdout.trim();
  const url = `ssh://${user}@127.0.0.1:${port}${join(root, "over-ssh.git")}`;
  await upgraded(t, module, url, first, join(root, "over-ssh.git"));
});

/** The template comes, is changed where it lies, and its newer version is merged into the module. */
async function upgraded(
  t: Test,
  module: Repository,
  url: string,
  first: string,
  served: string,
): Promise<void> {
  t.equal(await fetchTemplate(module, url, null, me), first);
  await module.setRef(MAIN, first);
  await module.checkOutMain();
  writeFiles(module.directory, { "own.txt": "mine" });
  const work = mkdtempSync(join(root, "work-"));
  git(root, "clone", "-q", served, work);
  writeFiles(work, { "hooks/stop_prim.ts": hook });
  git(work, "add", "-A");
  git(work, "commit", "-qm", "Newer");
  git(work, "push", "-q");
  const newer = await fetchTemplate(module, url, first, me);
  t.equal(newer, git(work, "rev-parse", "HEAD"));
  t.match(await mergeIn(module, newer, "Upgrade", me), { how: /merged|forward/ });
  t.same(
    [...readFiles(module.directory).keys()],
    ["hooks/start_prim.ts", "hooks/stop_prim.ts", "module.yaml", "own.txt"],
  );
}

/** The "smart" protocol, by git's own program: see git-http-backend(1). */
async function gitOverHttp(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const backend = Bun.spawn(["git", "http-backend"], {
    env: {
      ...process.env,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      REQUEST_METHOD: request.method,
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers.get("content-type") ?? "",
      REMOTE_ADDR: "127.0.0.1",
    },
    stdin: await request.arrayBuffer().then((body) => new Uint8Array(body)),
    stdout: "pipe",
    stderr: "ignore",
  });
  const output = Buffer.from(await new Response(backend.stdout).arrayBuffer());
  const end = output.indexOf("\r\n\r\n");
  const headers = new Headers();
  for (const line of output.subarray(0, end).toString().split("\r\n")) {
    const [name, value] = line.split(": ") as [string, string];
    headers.set(name, value);
  }
  const status = Number((headers.get("status") ?? "200").slice(0, 3));
  headers.delete("status");
  return new Response(output.subarray(end + 4), { status, headers });
}
