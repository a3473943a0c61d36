console.log('a'); Deno.exit(7); console.log('b');
