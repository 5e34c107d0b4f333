"""What etcd may see of our environment."""

from etcdlab.etcd.environment import clean


def test_what_would_reach_etcd_or_divert_it_is_left_out():
    kept = {
        "PATH": "/bin",
        "HOME": "/h",
        "ETCDLAB_HOME": "/e",
        "PROXY_COMMAND": "x",
        "ETCD_UNSUPPORTED_ARCH": "arm64",
    }
    dropped = {
        "ETCD_NAME": "x",
        "ETCDCTL_ENDPOINTS": "elsewhere",
        "HTTP_PROXY": "x",
        "https_proxy": "x",
        "No_Proxy": "",
        "ALL_PROXY": "x",
    }
    assert clean(kept | dropped) == kept
