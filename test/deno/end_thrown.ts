console.log('a'); throw new Error('b');
