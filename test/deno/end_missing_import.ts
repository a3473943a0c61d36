import './not_there.ts'; console.log('a');
