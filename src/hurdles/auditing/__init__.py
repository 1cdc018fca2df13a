"""The hurdles: what data and models must clear before anyone believes them."""
