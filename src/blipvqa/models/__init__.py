"""BLIP's models, their weights, and the devices that compute them."""
