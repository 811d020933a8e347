//! SQL over the store through DataFusion
