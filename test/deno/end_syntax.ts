console.log('a'); const = 5;
