"""What happens to features before anything is measured: scaling, PCA, whitening."""
