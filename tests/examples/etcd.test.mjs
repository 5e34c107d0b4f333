// A Node test on a real cluster:  etcdlab exec --profile fast -- node --test etcd.test.mjs
//
// It speaks to etcd's JSON gateway, so that it needs no package. The etcd3 package takes the same three files as its
// `credentials` {rootCertificate, certChain, privateKey}, and ETCDLAB_ENDPOINTS.split(",") as its `hosts`.
import assert from "node:assert";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import test from "node:test";

const env = process.env;
const tls = {
  ca: readFileSync(env.ETCDLAB_CACERT),
  cert: readFileSync(env.ETCDLAB_GATEWAY_CERT),
  key: readFileSync(env.ETCDLAB_GATEWAY_KEY),
};
const base64 = (text) => Buffer.from(text).toString("base64");

function call(path, body) {
  return new Promise((resolve, reject) => {
    const sent = request(env.ETCDLAB_ENDPOINT + path, { ...tls, method: "POST" }, async (answer) => {
      const chunks = await answer.toArray();
      resolve(JSON.parse(Buffer.concat(chunks)));
    });
    sent.on("error", reject);
    sent.end(JSON.stringify(body));
  });
}

test("a greeting", async () => {
  await call("/v3/kv/put", { key: base64("greeting"), value: base64("hello") });
  const { kvs } = await call("/v3/kv/range", { key: base64("greeting") });
  assert.equal(Buffer.from(kvs[0].value, "base64").toString(), "hello");
});
