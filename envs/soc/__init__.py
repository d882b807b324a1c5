"""System on chip: jobs of dependent tasks stream onto heterogeneous processing elements."""
