"""Renderings of a plan for other tools: Kubernetes, kubeadm, environment files. Pure text from a Plan."""
