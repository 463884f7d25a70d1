//! Plans before and after the optimizer: that they mean the same, and that they look as they should.

mod hand_built;
