Deno.exit(300);
