setTimeout(() => { throw new Error('late'); }, 10); console.log('a'); setTimeout(() => console.log('never'), 100);
