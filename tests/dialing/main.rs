//! From a name to a connection, on the simulated kernel: its network has ways that are silent, slow
//! or missing, and its clock is exact.

mod racing;
