Deno.exitCode = 4; Deno.exit(0);
