// What the suite's raw results mean: by the suite's own judgement (lib/display.mjs), so that Larder and the caches whose
// results the suite's authors publish are measured with the same rule.
//
// A test has a kind: `required` (by the RFCs), `optimal` (what a good cache does), `check` (how it behaves: no right or
// wrong). It may depend on others; where one of them does not pass, it says nothing: `dependency-failed`. Where what the
// test takes for granted does not hold, it says nothing either: `setup-failed`.

import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const NAMES = {
  '-': 'not-run', '✅': 'pass', '⛔️': 'fail', '⚠️': 'fail', Y: 'yes', N: 'no', '🔹': 'setup-failed',
  '⁉️': 'harness-failed', '⚪️': 'dependency-failed', '↻': 'retried'
}

/** The suite in this folder: its edition, its tests by id, and how it judges. */
export async function read (folder) {
  const load = name => import(pathToFileURL(path.resolve(folder, name)))
  const [{ default: suites }, { default: surrogate }, { determineTestResult }, { default: peers }] = await Promise.all(
    ['tests/index.mjs', 'tests/surrogate-control.mjs', 'lib/display.mjs', 'results/index.mjs'].map(load))
  suites.push(surrogate)
  const tests = new Map()
  for (const { id: suite, tests: members } of suites) {
    for (const { id, kind = 'required', name, browser_only: browserOnly } of members) {
      if (!browserOnly) tests.set(id, { id, kind, name, surrogate: suite === surrogate.id })
    }
  }
  const edition = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'))).version
  const word = symbol => NAMES[symbol] ?? `unknown (${symbol})`
  return { folder, edition, tests, suites, determineTestResult, peers, word }
}

/** What became of each test: `{ verdict, why }` by id. */
export function verdicts (suite, results) {
  const all = new Map()
  for (const id of suite.tests.keys()) {
    const verdict = suite.word(suite.determineTestResult(suite.suites, id, results)[2])
    const raw = results[id]
    all.set(id, { verdict, why: Array.isArray(raw) ? raw.join(': ') : '' })
  }
  return all
}

/** The one result that the suite's command line prints for a single test, as it stands among the results of all. */
export function single (suite, id, output) {
  const lines = output.trimEnd().split('\n')
  const [, symbol, why] = lines.at(-1).match(/^(\S+) - ?(.*)$/) ?? []
  if (symbol === undefined) throw new Error(`the suite said nothing of ${id}:\n${output}`)
  const verdict = suite.word(symbol)
  if (verdict === 'pass' || verdict === 'yes') return true
  return [verdict === 'setup-failed' || verdict === 'retried' ? 'Setup' : 'Assertion', verdict === 'retried' ? 'retry' : why]
}

/** How many tests of each kind pass, and how many there are; those of Surrogate-Control, which is no RFC's, apart. */
export function score (suite, judged) {
  const counts = { required: [0, 0], optimal: [0, 0], surrogate: [0, 0] }
  for (const { id, kind, surrogate } of suite.tests.values()) {
    const count = kind === 'check' ? undefined : counts[surrogate ? 'surrogate' : kind]
    if (count === undefined) continue
    count[1] += 1
    if (judged.get(id).verdict === 'pass') count[0] += 1
  }
  return counts
}

/** The shared caches whose results the package has, best first, each with its score. */
export function published (suite) {
  const shared = suite.peers.filter(({ type }) => type !== 'browser')
  const scored = shared.map(({ file, name, version }) => {
    const results = JSON.parse(fs.readFileSync(path.join(suite.folder, 'results', file)))
    const judged = verdicts(suite, results)
    const missing = [...judged.values()].filter(({ verdict }) => verdict === 'not-run').length
    return { name, version, missing, score: score(suite, judged) }
  })
  return scored.sort((a, b) => b.score.required[0] - a.score.required[0])
}
