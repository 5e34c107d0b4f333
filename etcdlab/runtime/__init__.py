"""The supervisor: child processes, restart loops, boot, health, journal. The only home of long-running trio tasks."""
