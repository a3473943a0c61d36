// A child that was unref'd does not keep the script, and outlives it.
const child = new Deno.Command("sh", { args: ["-c", "sleep 0.1; echo late > late"], stdout: "null", stdin: "null" }).spawn();
child.unref();
console.log("done");
