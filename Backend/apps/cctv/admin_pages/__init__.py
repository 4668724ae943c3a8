"""The pages of the Django admin. `apps.cctv.admin` registers them."""
