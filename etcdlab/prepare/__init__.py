"""What happens before anything runs: topology file to plan, ports, directories. Synchronous."""
