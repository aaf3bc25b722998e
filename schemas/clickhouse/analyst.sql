CREATE ROLE IF NOT EXISTS tidemark_analyst;

GRANT SELECT ON `tidemark`.* TO tidemark_analyst;

CREATE SETTINGS PROFILE IF NOT EXISTS tidemark_analyst SETTINGS
    readonly = 1,
    max_execution_time = 60,
    max_memory_usage = 4000000000,
    max_result_rows = 1000000,
    max_result_bytes = 1000000000,
    result_overflow_mode = 'throw',
    max_concurrent_queries_for_user = 4
TO tidemark_analyst;

CREATE QUOTA IF NOT EXISTS tidemark_analyst KEYED BY user_name FOR INTERVAL 1 hour
    MAX queries = 2000, execution_time = 3600
TO tidemark_analyst;
