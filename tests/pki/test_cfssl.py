import json

import pytest

from etcdlab.errors import TopologyError
from etcdlab.model.certificate import KeyType, Role, Subject, Usage
from etcdlab.pki import cfssl
from tests.pki.tools import RECIPE


@pytest.fixture
def write(tmp_path):
    def write_file(content):
        path = tmp_path / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_file


def problems(read, *args):
    with pytest.raises(TopologyError) as caught:
        read(*args)
    return caught.value.problems


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (None, KeyType.ECDSA_P256),
        ({"algo": "ecdsa", "size": 384}, KeyType.ECDSA_P384),
        ({"algo": "rsa", "size": 3072}, KeyType.RSA_3072),
        ({"algo": "ed25519"}, KeyType.ED25519),
    ],
)
def test_keys(write, key, kind):
    assert cfssl.read_request(write({"CN": "x"} | ({"key": key} if key else {}))).key is kind


def test_parts_of_a_name_may_come_one_by_one(write):
    request = cfssl.read_request(write({"CN": "x", "names": [{"C": "DE"}, {"O": "a", "C": "DE"}]}))
    assert request.subject == Subject(CN="x", C="DE", O="a")


def test_a_ca_lives_as_long_as_it_says_or_as_cfssl_lets_it(write):
    assert cfssl.read_request(write({"ca": {"expiry": "87600h"}})).lifetime_s == 87600 * 3600
    assert cfssl.read_request(write({})).lifetime_s == 43800 * 3600


def test_a_request_with_many_mistakes(write):
    path = write(
        {
            "key": {"algo": "rsa", "size": 1024},
            "names": [{"C": "DE", "E": "a@b"}, {"C": "FR"}],
            "ca": {"expiry": "soon"},
        }
    )
    found = problems(cfssl.read_request, path)
    assert [line.removeprefix(f"{path}: ").split(":")[0] for line in found] == ["names", "names", "key", "ca.expiry"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"CN": 1}', '{"hosts": ""}', '{"serialnumber": "1"}', b"\xff\xfe"])
def test_what_is_no_request(tmp_path, content):
    path = tmp_path / "file.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (line,) = problems(cfssl.read_request, path)
    assert line.startswith(f"{path}: ")


def test_what_a_profile_says_that_etcdlab_cannot_do_is_refused(write):
    path = write({"signing": {"profiles": {"x": {"usages": ["signing"], "expiry": "1h", "ca_constraint": {}}}}})
    (line,) = problems(cfssl.read_profile, path, "x")
    assert "ca_constraint" in line


def test_a_profile_with_many_mistakes(write):
    path = write({"signing": {"default": {"usages": ["signing", "code signing", "sign"], "expiry": "0h"}}})
    found = problems(cfssl.read_profile, path, "default")
    assert len(found) == 3
    assert "accepted: signing, digital signature, key encipherment, server auth, client auth" in found[0]


def test_profiles_are_named_when_one_is_missing():
    (line,) = problems(cfssl.read_profile, RECIPE / "ca-config.json", "peer")
    assert line.endswith("profiles here: default, server, client")


def test_a_servers_profile_must_do_for_etcd(write, tmp_path):
    config = write({"signing": {"profiles": {"www": {"usages": ["signing", "server auth"], "expiry": "1h"}}}})
    (line,) = problems(cfssl.leaf, Role.SERVER, RECIPE / "server-csr.json", config, "www")
    assert line.endswith("profile www: a server leaf also needs client auth")


def test_a_leaf_of_the_recipe():
    leaf = cfssl.leaf(Role.CLIENT, RECIPE / "client-csr.json", RECIPE / "ca-config.json", "client")
    assert leaf.usages == (Usage.SIGNING, Usage.KEY_ENCIPHERMENT, Usage.SERVER_AUTH, Usage.CLIENT_AUTH)
    assert leaf.hosts == ()
