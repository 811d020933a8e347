//! A simulated GPU fleet with failures, near misses and surprises
