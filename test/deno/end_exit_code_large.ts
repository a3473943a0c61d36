Deno.exitCode = 258; console.log(Deno.exitCode);
