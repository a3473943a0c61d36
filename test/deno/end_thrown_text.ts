throw 'b';
