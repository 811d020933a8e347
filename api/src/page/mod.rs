//! What people look at: pages written by the server, complete without scripts but for their charts, which one small script
//! draws from the same query API that everybody else uses. Nothing is loaded from elsewhere.

pub(crate) mod agents;
pub(crate) mod alerts;
pub(crate) mod asset;
mod charts;
pub(crate) mod explore;
pub(crate) mod host;
pub(crate) mod hosts;
pub(crate) mod layout;
pub(crate) mod models;
pub(crate) mod text;
