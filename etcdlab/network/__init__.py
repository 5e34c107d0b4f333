"""The fault network: a process beside the daemon that carries what members and clients send each other.

Apart from the daemon, so that one that dies or is restarted cuts no link. Each member has a CONNECT listener of its
own, which says who dials, and the target says whom; TLS stays end to end.
"""
