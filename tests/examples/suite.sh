#!/bin/sh
# A suite in shell:  etcdlab exec --profile fast -- sh suite.sh
set -eu

etcdctl put greeting hello >/dev/null
test "$(etcdctl get greeting --print-value-only)" = hello

# A client without etcdctl: etcd's JSON gateway. The key is "greeting" in base64.
curl --silent --show-error --fail --cacert "$ETCDLAB_CACERT" --cert "$ETCDLAB_GATEWAY_CERT" --key "$ETCDLAB_GATEWAY_KEY" \
    --data '{"key": "Z3JlZXRpbmc=", "count_only": true}' "$ETCDLAB_ENDPOINT/v3/kv/range" | grep -q '"count":"1"'

# One of three members is gone: the others answer.
etcdlab stop n1 >/dev/null
test "$(etcdctl get greeting --print-value-only)" = hello
etcdlab start n1 >/dev/null

echo passed
