"""The single-process mode: embedded Valkey and the supervisor of the children."""
