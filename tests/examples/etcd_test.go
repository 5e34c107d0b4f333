// A Go test on a real cluster:  etcdlab exec --profile fast -- go test etcd_test.go
//
// It speaks to etcd's JSON gateway, so that it needs no module. go.etcd.io/etcd/client/v3 takes the same three files in
// its transport.TLSInfo, and strings.Split(os.Getenv("ETCDLAB_ENDPOINTS"), ",") as its endpoints.
package example

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"testing"
)

func client(t *testing.T) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(os.Getenv("ETCDLAB_CACERT"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(os.Getenv("ETCDLAB_GATEWAY_CERT"), os.Getenv("ETCDLAB_GATEWAY_KEY"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	settings := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: settings}}
}

func call(t *testing.T, client *http.Client, path string, request, answer any) {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Post(os.Getenv("ETCDLAB_ENDPOINT")+path, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		t.Fatal(err)
	}
}

func TestGreeting(t *testing.T) {
	client := client(t)
	var put struct{}
	call(t, client, "/v3/kv/put", map[string][]byte{"key": []byte("greeting"), "value": []byte("hello")}, &put)
	var got struct{ Kvs []struct{ Value []byte } }
	call(t, client, "/v3/kv/range", map[string][]byte{"key": []byte("greeting")}, &got)
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "hello" {
		t.Fatalf("greeting is %v", got)
	}
}
