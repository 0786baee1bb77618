"""Generic machinery: work queue, worker, jobs, rate limits, delivery health."""
