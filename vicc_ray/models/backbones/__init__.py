"""Video backbones, a file each; :mod:`vicc_ray.models.registry` lists them."""
