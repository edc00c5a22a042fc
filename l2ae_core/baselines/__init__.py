"""The methods that the paper compares with: DEC, IDEC, DCEC, VAE, GMVAE, DRAE."""
