// The run itself. Arguments: the suite's folder, the binary, then what `run` was given.

import path from 'node:path'
import { fileURLToPath } from 'node:url'

import * as documents from './documents.mjs'
import * as expected from './expected.mjs'
import * as judge from './judge.mjs'
import { commandLine, withLarder } from './processes.mjs'

const [folder, binary, ...asked] = process.argv.slice(2)
const here = path.dirname(fileURLToPath(import.meta.url))

/** So many tests are repeated at most; each takes up to ten seconds. */
const REPEATED_MAX = 20
const suite = await judge.read(path.resolve(folder))

try {
  process.exitCode = await main()
} catch (error) {
  console.error(`tests/http-cache-tests/run: ${error.message}`)
  process.exitCode = 1
}

async function main () {
  const option = asked.find(word => word.startsWith('--'))
  const known = option === undefined || (['--accept', '--peers'].includes(option) && asked.length === 1)
  const unknown = known ? asked.find(word => word !== option && !suite.tests.has(word)) : option
  if (unknown !== undefined) throw new Error(`there is no test and no option ${unknown}`)
  const list = expected.read(path.relative(process.cwd(), path.join(here, 'expected.txt')))
  if (list.mistakes.length > 0) throw new Error(`\n${list.mistakes.join('\n')}`)
  if (option === '--peers') {
    console.log(documents.table(facts(list, listedScore(list))))
    return 0
  }
  return asked.length > 0 && option === undefined ? show(asked) : compare(list, option === '--accept')
}

/** Some tests only, with everything that was sent. */
async function show (ids) {
  const outputs = await withLarder(suite.folder, path.resolve(binary), base => oneByOne(base, ids))
  console.log(outputs.map(({ text }) => text).join('\n'))
  return 0
}

async function oneByOne (base, ids) {
  const outputs = []
  for (const id of ids) outputs.push({ id, text: await commandLine(suite.folder, base, id) })
  return outputs
}

/** All tests, held against the list. */
async function compare (list, accept) {
  const began = Date.now()
  const { judged, repeated } = await withLarder(suite.folder, path.resolve(binary), base => results(base, list))
  const differences = expected.differences(list, suite, judged)
  const score = judge.score(suite, judged)
  for (const { id, text } of repeated) {
    const difference = differences.find(difference => difference.id === id)
    if (difference === undefined) console.log(`${id}: not as listed at first, but when it was repeated alone`)
    else if (!difference.better) console.log(text)
  }
  const now = accept ? expected.accepted(list, suite, judged, score) : list
  if (accept) expected.write(now)
  const left = differences.filter(({ better }) => !(accept && better))
  const complaints = left.map(({ better, text }) => better ? `${text}\n    add it: tests/http-cache-tests/run --accept` : text)
  for (const [kind, least] of Object.entries(list.least)) {
    if (score[kind][0] < least) complaints.push(`${kind}: ${score[kind][0]} pass, ${least} are the least (${list.file})`)
  }
  // A worse result is no reason to write a worse table.
  const told = documents.stale(facts(now, left.some(({ better }) => !better) ? listedScore(now) : score), accept)
  if (!accept) complaints.push(...told.map(text => `${text}: tests/http-cache-tests/run --accept`))
  for (const complaint of complaints) console.log(`not as expected: ${complaint}`)
  if (accept) console.log(`written: ${differences.length - left.length} tests, ${told.length} parts of documents`)
  const [required, optimal, surrogate] = Object.values(score).map(([passing, total]) => `${passing} of ${total}`)
  const seconds = Math.round((Date.now() - began) / 1000)
  console.log(`required ${required}, optimal ${optimal}, Surrogate-Control ${surrogate} ` +
    `(http-cache-tests ${suite.edition}, ${seconds}s): ${complaints.length === 0 ? 'as expected' : `${complaints.length} complaints`}`)
  return complaints.length === 0 ? 0 : 1
}

/** All results. What differs from the list is asked once more, alone: a test that waits may fail on a busy machine. */
async function results (base, list) {
  const text = await commandLine(suite.folder, base)
  let raw
  try {
    raw = JSON.parse(text)
  } catch {
    throw new Error(`the suite printed no results:\n${text.slice(-2000)}`)
  }
  const first = expected.differences(list, suite, judge.verdicts(suite, raw)).filter(({ id }) => suite.tests.has(id))
  // Where very much differs it is no accident, and repeating it would take minutes.
  const again = first.length > REPEATED_MAX ? [] : first.map(({ id }) => id)
  if (first.length > 0) console.log(`${first.length} tests not as listed, ${again.length} of them repeated alone`)
  const repeated = await oneByOne(base, again)
  for (const { id, text } of repeated) raw[id] = judge.single(suite, id, text)
  return { judged: judge.verdicts(suite, raw), repeated }
}

/** The score that the list tells. */
function listedScore (list) {
  return judge.score(suite, new Map([...suite.tests.keys()].map(id => [id, list.tests.get(id) ?? { verdict: 'not-run' }])))
}

function facts (list, score) {
  return { suite, list, peers: judge.published(suite), larder: { score } }
}
