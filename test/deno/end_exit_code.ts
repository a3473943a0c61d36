Deno.exitCode = 4; console.log(Deno.exitCode);
