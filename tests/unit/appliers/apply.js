// Applies patches as a partner would; the function is the one that docs/patches.md shows.

function apply(base, ops) {
  const parts = [];
  let done = 0;
  for (const [offset, del, insert] of ops) {
    parts.push(base.subarray(done, offset), Buffer.from(insert, "utf8"));
    done = offset + del;
  }
  return Buffer.concat([...parts, base.subarray(done)]);
}

// A line each: the base in base 64, then offset, delete and insert (base 64) of each operation; out comes the result in base 64.
const lines = require("fs").readFileSync(0, "ascii").split("\n").slice(0, -1);
for (const line of lines) {
  const [base, ...fields] = line.split("\t");
  const ops = [];
  for (let i = 0; i < fields.length; i += 3) {
    ops.push([Number(fields[i]), Number(fields[i + 1]), Buffer.from(fields[i + 2], "base64").toString("utf8")]);
  }
  console.log(apply(Buffer.from(base, "base64"), ops).toString("base64"));
}
