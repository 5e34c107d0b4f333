"""All that is particular to etcd: its flags, its binaries, its log, its JSON gateway."""
