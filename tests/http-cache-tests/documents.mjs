// The parts of README.md and docs/conformance.md that are made from the results, each between a comment that says so and
// one that ends it.

import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')
const NAMES = { ATS: 'Apache Traffic Server', httpd: 'Apache httpd' }

const MADE = [
  ['README.md', 'score', table],
  ['docs/conformance.md', 'score', table],
  ['docs/conformance.md', 'not passing', reasons]
]

/** Larder's score beside the published ones, as Markdown. */
export function table ({ suite, larder, peers }) {
  const totals = Object.values(larder.score).map(([, total]) => total)
  const rows = [
    `| shared cache | required, of ${totals[0]} | optimal, of ${totals[1]} | Surrogate-Control, of ${totals[2]} |`,
    '| --- | --- | --- | --- |',
    row('**Larder**', larder),
    ...peers.map(peer => row(`${NAMES[peer.name] ?? peer.name} ${peer.version}`, peer))
  ]
  return [`http-cache-tests ${suite.edition}; the other caches as published in that package:`, '', ...rows].join('\n')
}

function row (name, { score, missing = 0 }) {
  const counts = Object.values(score).map(([passing]) => passing)
  return `| ${name}${missing > 0 ? ` (${missing} tests not run)` : ''} | ${counts.join(' | ')} |`
}

/** Each reason for tests that do not pass, and their names. */
function reasons ({ list }) {
  const parts = []
  for (const [name, text] of list.reasons) {
    const tests = [...list.tests.values()].filter(({ reason }) => reason === name)
    const ids = tests.map(({ id, kind, verdict }) => `\`${id}\` (${kind}, ${verdict})`)
    parts.push(`**${name}**: ${text}`, ids.sort().join(', '))
  }
  return parts.join('\n\n')
}

/** Every made part that does not say what it would say now; with `write`, it then does. */
export function stale (facts, write) {
  const found = []
  for (const [file, name, make] of MADE) {
    const place = path.join(root, file)
    const text = fs.readFileSync(place, 'utf8')
    const begin = `<!-- ${name}: written by tests/http-cache-tests/run --accept -->\n`
    const end = `\n<!-- end of ${name} -->`
    const from = text.indexOf(begin)
    const to = text.indexOf(end, from)
    if (from < 0 || to < 0) throw new Error(`${file} has no part between\n${begin}and${end}`)
    const made = `\n${make(facts)}\n`
    if (text.slice(from + begin.length, to) === made) continue
    found.push(`${file}: the part "${name}" says something else than this run`)
    if (write) fs.writeFileSync(place, text.slice(0, from + begin.length) + made + text.slice(to))
  }
  return found
}
