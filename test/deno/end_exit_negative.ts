Deno.exit(-1);
