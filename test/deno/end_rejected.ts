void Promise.reject(new Error('b')); await new Promise((r) => setTimeout(r, 100)); console.log('never');
