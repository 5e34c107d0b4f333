import pytest

from etcdlab.export import kubeadm
from etcdlab.export.kubeadm import ApiVersion
from tests.plans import make_plan

SECURE = """\
apiVersion: kubeadm.k8s.io/{version}
kind: ClusterConfiguration
etcd:
  external:
    endpoints:
      - https://localhost:1179
      - https://localhost:1279
      - https://localhost:1379
    caFile: /etc/kubernetes/pki/etcd/ca.crt
    certFile: /etc/kubernetes/pki/apiserver-etcd-client.crt
    keyFile: /etc/kubernetes/pki/apiserver-etcd-client.key"""


@pytest.mark.parametrize("version", ApiVersion)
def test_a_secure_lab(tmp_path, version):
    assert kubeadm.text(make_plan(tmp_path), version) == SECURE.format(version=version.value)


def test_a_plain_lab_has_endpoints_only(tmp_path):
    text = kubeadm.text(make_plan(tmp_path, nodes=1, tls=False), ApiVersion.V1BETA4)
    assert text.endswith("    endpoints:\n      - http://localhost:1179")


def test_the_bundle_holds_all_that_the_text_names(tmp_path):
    plan = make_plan(tmp_path)
    config, *certificates = kubeadm.bundle(plan, ApiVersion.V1BETA4)
    assert config.text == kubeadm.text(plan, ApiVersion.V1BETA4) + "\n"
    assert all(file.path in (config.text or "") for file in certificates)
    assert [file.secret for file in certificates] == [False, False, True]
