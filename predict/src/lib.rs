//! Samples and outcomes in, calibrated failure probabilities out
