from etcdlab.export import kubernetes
from tests.plans import make_plan


def test_the_recipes_line(tmp_path):
    assert kubernetes.config_line(make_plan(tmp_path)) == (
        'KUBE_ETCD_SERVERS="--etcd-servers=https://localhost:1179,https://localhost:1279,https://localhost:1379'
        " --etcd-cafile=/etc/kubernetes/ssl/ca.pem"
        " --etcd-certfile=/etc/kubernetes/ssl/client.pem"
        ' --etcd-keyfile=/etc/kubernetes/ssl/client-key.pem"'
    )


def test_a_plain_lab_has_no_certificate_flags(tmp_path):
    plan = make_plan(tmp_path, nodes=1, tls=False)
    assert kubernetes.flags(plan) == ("--etcd-servers=http://localhost:1179",)
    assert [file.path for file in kubernetes.bundle(plan)] == ["/etc/kubernetes/config"]


def test_learners_do_not_serve_the_api_server(tmp_path):
    plan = make_plan(tmp_path, nodes=2, learners=1, tls=False)
    assert kubernetes.flags(plan) == ("--etcd-servers=http://localhost:1179",)


def test_the_text_says_where_each_form_goes(tmp_path):
    plan = make_plan(tmp_path, nodes=1, tls=False)
    assert kubernetes.text(plan).splitlines() == [
        "# /etc/kubernetes/config",
        'KUBE_ETCD_SERVERS="--etcd-servers=http://localhost:1179"',
        "",
        "# kube-apiserver",
        "--etcd-servers=http://localhost:1179",
    ]


def test_the_bundle_holds_all_that_the_line_names(tmp_path):
    files = {file.path: file for file in kubernetes.bundle(make_plan(tmp_path))}
    pki = tmp_path / "demo" / "pki"
    assert {path: file.source for path, file in files.items() if file.source} == {
        "/etc/kubernetes/ssl/ca.pem": f"{pki}/ca.pem",
        "/etc/kubernetes/ssl/client.pem": f"{pki}/client.pem",
        "/etc/kubernetes/ssl/client-key.pem": f"{pki}/client-key.pem",
    }
    assert [path for path, file in files.items() if file.secret] == ["/etc/kubernetes/ssl/client-key.pem"]
    config = files["/etc/kubernetes/config"].text
    assert config is not None
    assert config.endswith('"\n')
