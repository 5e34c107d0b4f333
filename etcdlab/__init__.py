"""etcdlab: a local supervisor for secure multi-member etcd test clusters."""

__version__ = "0.1.0"
