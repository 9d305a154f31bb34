"""Running Safelight on one machine: the embedded services, and the supervisor of every process.

Here live the home folder, Postgres, Valkey and SeaweedFS from their wheels, and the process table.  The application
itself is only ever started by command line: nothing here imports ``api``, ``models`` or ``worker``.
"""
