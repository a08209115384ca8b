"""Small tools that know nothing of videos, training or Ray; every package may import them."""
