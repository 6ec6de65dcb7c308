// The plainest partner: kcat reads the topic, this reads what kcat prints (-J), and keeps the pages in memory.
//
// kcat ... -C -J -e -t TOPIC | node partner.js NAMESPACES     prints a JSON line a page at the end

const { createHash } = require("crypto");
const { createInterface } = require("readline");
const apply = require("./apply.js");

const wanted = new Set(process.argv[2].split(","));
const pages = new Map(); // by key; of a page that is gone the number alone stays
const titles = new Map(); // who holds a title: `wiki title` to key

const sha1 = (text) => (text === null ? null : createHash("sha1").update(text).digest("hex"));

function put(key, page) {
  const before = pages.get(key);
  if (before?.title && titles.get(before.title) === key) titles.delete(before.title);
  if (page.title) {
    const loser = titles.get(page.title);
    if (loser) pages.get(loser).title = null;
    titles.set(page.title, key);
  }
  pages.set(key, page);
}

function take(key, headers, value) {
  if (!wanted.has(headers.namespace) && !wanted.has(headers.prior_namespace)) return; // not parsed
  const { seq, kind, wiki_id, page, revision, base, patch, text: whole } = JSON.parse(value);
  const before = pages.get(key) ?? { seq: 0, text: null };
  if (seq <= before.seq) return; // had it already
  const title = `${wiki_id} ${page.title}`;
  if (page.page_id === null && titles.has(title)) put(titles.get(title), { ...pages.get(titles.get(title)), gone: true, title: null, text: null });
  if (kind === "delete" || !wanted.has(headers.namespace)) return put(key, { seq, gone: true, text: null });

  let text = before.text;
  if (kind === "snapshot") text = whole === null ? null : Buffer.from(whole);
  else if (kind === "patch") text = seq === before.seq + 1 && sha1(text) === base.sha1 ? apply(text, patch.ops) : null;
  else if (kind !== "redact") throw new Error(`${key}: kind ${kind} is of a newer version than this program`);
  if (sha1(text) !== revision.sha1) text = null; // a divergence: the text is to be fetched from elsewhere
  put(key, { seq, title, wiki_id, page_id: page.page_id, namespace: page.namespace, rev_id: revision.rev_id, sha1: revision.sha1, text });
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { key, headers, payload } = JSON.parse(line);
    const named = {};
    for (let i = 0; i < headers.length; i += 2) named[headers[i]] = headers[i + 1];
    take(key, named, payload);
  })
  .on("close", () => {
    for (const { gone, title, wiki_id, page_id, namespace, rev_id, sha1, text } of pages.values()) {
      if (gone) continue;
      const name = title && title.slice(wiki_id.length + 1);
      console.log(JSON.stringify({ wiki_id, page_id, title: name, namespace, rev_id, sha1, text: text && text.toString() }));
    }
  });
