"""How devices behave: one module a family, all in columns. Powers are W, positive into the grid."""
