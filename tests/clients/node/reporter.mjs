// One JSON line per finished test, subtest and suite, for the pytest module that runs these files.

export default async function* report(source) {
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const skipped = data.skip !== undefined || data.todo !== undefined;
    const error = data.details.error;
    const text = skipped ? 'skipped' : String(error?.cause?.stack ?? error?.cause ?? error);
    yield JSON.stringify({ name: data.name, passed: type === 'test:pass' && !skipped, text }) + '\n';
  }
}
