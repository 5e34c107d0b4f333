"""Labs as pytest fixtures: `etcd_cluster`, `etcd`, `etcd_cluster_factory`, and `factories` for one's own."""
